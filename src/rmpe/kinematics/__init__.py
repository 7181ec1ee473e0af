"""Movement in numbers: joints over time, cleaned, as angles, speeds, lengths and files."""
