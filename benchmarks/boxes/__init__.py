"""What do loose boxes cost, and what do SSTN and PGPG bring back?"""
