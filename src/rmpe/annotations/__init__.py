"""Annotation and results files in COCO's layout.

One reader for training, evaluation, recorded boxes, image ids and learning.
"""
