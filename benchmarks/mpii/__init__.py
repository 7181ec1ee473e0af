"""The paper's own benchmark."""
