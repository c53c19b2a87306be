"""The picture copy beside rclone, a thread pool as people write it by hand, and img2dataset: `make bench-images`."""
