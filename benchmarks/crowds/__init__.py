"""Whose joint is a joint, where people overlap?"""
