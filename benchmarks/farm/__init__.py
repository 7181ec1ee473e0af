"""What does `rmpe farm` cost, and what does it survive?"""
