"""The content repository: uploaded files and their thumbnails."""
