"""One module a POS: each turns its wire format into a complete canonical catalog."""
