"""Linear maps: the grid and its border, filters, frames, differences, measurements. Imports nothing but the spine."""
