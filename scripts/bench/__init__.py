"""How fast the write-back is, against the fastest thing possible and against what people write by hand.

`make bench` or `python -m scripts.bench`. It makes two databases of its own on the server: one with generated events,
and, for every single measurement, a fresh copy of it, so that each contender finds the same files. The contenders take
turns in every round, and a ratio compares rates of the same round; what is printed are medians.
"""
