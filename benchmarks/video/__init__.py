"""Who is who in a video, and how seldom may the detector run?"""
