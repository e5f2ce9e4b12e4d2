"""The ways to ask the gateway, one file each; each translates, and none certifies.

base.py           the contract
known.py          the faces by name
asking.py         several pictures in one request
page.py           the page at /, and what it shows
own.py            raw images, certificates, jobs, metrics
inference.py      the Open Inference Protocol, version 2; tensors.py: its images and outputs
rekognition.py    Amazon Rekognition
google_vision.py  Google Cloud Vision
azure_vision.py   Azure AI Vision
clarifai.py       Clarifai
"""
