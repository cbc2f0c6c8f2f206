"""Tables as data: files and frames in, columns of four kinds, numbers for networks out."""
