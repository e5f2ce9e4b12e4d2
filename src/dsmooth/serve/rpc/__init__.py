"""The faces that speak gRPC (extra `grpc`), on a port of their own.

base.py       the contract, and the server
known.py      the services by name
inference.py  the Open Inference Protocol, version 2
clarifai.py   Clarifai
"""
