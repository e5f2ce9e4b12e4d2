"""Side-by-side ratios, measured here and now: `make bench`.

reference.py   the loop of the published code, to compare with
hot_path.py    each backend against it, and what noise and bookkeeping cost
adaptive.py    adaptive sampling and the hot path together, at N = 100,000
whole.py       scaling over cores, memory, start of the program, one image at n = 10,000
run.py         all of it, as one table
"""
