"""Learned F_Theta: networks that are lists of maps, run by `run`."""
