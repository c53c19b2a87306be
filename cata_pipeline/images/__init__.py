"""Copies every product picture into our own bucket, and points `main_image_url` at the copy."""
