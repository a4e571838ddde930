"""What a person with a GPU measures. Without one the same code runs on the CPU, with a small model."""
