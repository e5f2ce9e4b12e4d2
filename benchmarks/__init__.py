"""Side-by-side ratios, measured here and now: `make bench`.

reference.py     the loop of the published code, to compare with
roofline.py      large matrix products, to compare with
hot_path.py      each backend against both, and what noise and bookkeeping cost
adaptive.py      adaptive sampling and the hot path together, at N = 100,000
whole.py         scaling over cores, memory, start of the program, one image at n = 10,000
first_vote.py    what a call waits for its first vote
run.py           all of it, as one table
serve.py         the gateway: throughput, overhead, soak, overload, restart (`make bench-serve`); clients.py: who asks it
service_rate.py  queries a second against a service (`python -m benchmarks.service_rate`)
paired.py        old code against new code (`python -m benchmarks.paired OLD_CHECKOUT`)
job.py           a process of paired.py
"""
