"""What exists: storage elements and file records, and the sync that keeps records true."""
