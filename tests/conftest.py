from hypothesis import settings

# A deadline per example is a timing asserted: on a busy machine it fails for no fault of the code.
settings.register_profile("divisions", deadline=None)
settings.load_profile("divisions")
