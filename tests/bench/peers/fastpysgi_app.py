"""fastpysgi with the ASGI or the WSGI application. usage: fastpysgi_app.py asgi|wsgi PORT"""

import importlib
import sys

import fastpysgi

fastpysgi.run(importlib.import_module(sys.argv[1]).app, host="127.0.0.1", port=int(sys.argv[2]))
