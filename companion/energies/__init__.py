"""Things to minimise: functionals with gradient and proximal map, and the models made of them."""
