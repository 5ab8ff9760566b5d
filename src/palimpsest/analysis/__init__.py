"""What is read off trained networks: forgetting, sizes, masks."""
