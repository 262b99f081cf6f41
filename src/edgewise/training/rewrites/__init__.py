"""What a graph made for inference lacks for training, and back again."""
