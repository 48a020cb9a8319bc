"""django-bolt as its command runs it, with the least settings. usage: bolt_app.py PORT"""

import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    DEBUG=False, SECRET_KEY="benchmark", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["django_bolt"], ROOT_URLCONF="bolt_api",
    BOLT_API=["bolt_api:api"], BOLT_COMPRESSION=False, LOGGING_CONFIG=None,
)
urlpatterns = []
django.setup()
call_command("runbolt", "--host", "127.0.0.1", "--port", sys.argv[1], "--no-admin")
