"""The only disk: bundles as files and folders, edgewise's home, caches, files replaced in one step."""
