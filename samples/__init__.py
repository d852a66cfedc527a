"""The project's own sample: handwritten digits and a small vision transformer trained on them."""
