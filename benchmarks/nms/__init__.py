"""What is pose NMS worth, and what does it cost?"""
