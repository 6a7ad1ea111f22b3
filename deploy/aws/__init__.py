"""Amazon's cloud: who we are there, and calls whose refusals are one clear line each.

In: how a target is to be reached (region, profile, role). Out: replies of AWS, or errors with a remedy. botocore is
imported when it is first needed. Open `session` first; `refusals` is pure.
"""
