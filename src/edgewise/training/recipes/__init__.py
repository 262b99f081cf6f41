"""What is trained, how, on which form of the data, where nothing else is said."""
