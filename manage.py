#!/usr/bin/env python
"""The shell door of the Django program: every operator's act is a command here."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "artstore.settings")
    execute_from_command_line(sys.argv)
