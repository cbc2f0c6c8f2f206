"""One module for each source of data; `klayer.data.catalogue` lists them."""
