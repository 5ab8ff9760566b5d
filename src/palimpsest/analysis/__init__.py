"""Analysis of trained networks: forgetting, sizes, masks."""
