"""What is measured: pure functions of arrays, one number each."""
