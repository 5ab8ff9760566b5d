"""From files to arrays: reading data sets, preparing them as memory-mapped uint8 arrays, fetching them."""
