"""What survives what goes wrong?"""
