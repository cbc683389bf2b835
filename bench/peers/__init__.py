"""The same two functions with Ray and with Dask, each in its own environment."""
