"""A small stand-in for the Docker engine: as much of its API as Complement uses, with local processes as containers.

A container is a process group with a folder, a loopback address and a view of names of its own. Nothing here knows
Matrix; what an image starts is told from outside (`images.BaseImage`).
"""
