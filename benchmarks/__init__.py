"""`make bench`: Tandem beside what it is compared with, on the same servers, in one paired run."""
