"""The embedded servers, a make-believe POS, and the story that `make demo` tells."""
