"""Does the service hold what the library does, at load and under attack?"""
