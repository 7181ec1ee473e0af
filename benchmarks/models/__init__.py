"""How good are the models that ship?"""
