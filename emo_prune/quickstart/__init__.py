"""The whole tool on the small EMO model that comes with the package."""
