"""Small neural networks in NumPy, trained on one core: what the examples of architecture search
build their networks of. Images are arrays (images, height, width, channels)."""
