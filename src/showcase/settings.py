"""Settings of the showcase, all from the environment; the defaults are where `manage.py tandem up` puts things."""

import os
from pathlib import Path

from showcase import environment
from tandem import addresses

SECRET_KEY = environment.secret_key(os.environ)
DEBUG = environment.boolean(os.environ, "DEBUG")
ALLOWED_HOSTS = environment.words(os.environ, "ALLOWED_HOSTS", environment.LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS = environment.words(os.environ, "CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tandem",
    "showcase",
    "showcase.executions",
    "showcase.uploads",
    "showcase.emails",
    "showcase.files",
    "showcase.analysis",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SECURE_CSP = environment.CONTENT_SECURITY_POLICY

ROOT_URLCONF = "showcase.urls"
WSGI_APPLICATION = "showcase.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "showcase.views.links",
            ]
        },
    }
]

DATABASES = {"default": addresses.database()}
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = environment.boolean(os.environ, "SECURE_COOKIES")

# Web, workers and service must all see it; another storage is named by STORAGES.
MEDIA_ROOT = os.environ.get("MEDIA_ROOT") or Path(os.environ.get("TANDEM_DATA") or ".tandem").resolve() / "files"
UPLOAD_MOST_BYTES = environment.number(os.environ, "UPLOAD_MOST_BYTES", 300_000_000)
FILE_UPLOAD_HANDLERS = [
    "showcase.uploads.handlers.LimitedUploadHandler",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False

DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL") or "Tandem <tandem@example.com>"
MAILERS = {
    "default": {
        "BACKEND": "showcase.emails.smtp.AnsweringBackend",
        "OPTIONS": {
            "host": os.environ.get("EMAIL_HOST") or "127.0.0.1",
            "port": environment.number(os.environ, "EMAIL_PORT", 1025),
            "username": os.environ.get("EMAIL_HOST_USER") or None,
            "password": os.environ.get("EMAIL_HOST_PASSWORD") or None,
            "use_tls": environment.boolean(os.environ, "EMAIL_USE_TLS"),
            "timeout": environment.number(os.environ, "EMAIL_TIMEOUT", 20),
        },
    }
}

BROKER_URL = addresses.celery()["BROKER_URL"]

TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "QUEUES": ["default", "emails", "files"],
        "OPTIONS": {
            "ENGINES": {
                "celery": {"BROKER_URL": BROKER_URL, "APP": "showcase.celery.app"},
                "restate": addresses.restate(),
            },
            "ROUTES": {"default": "celery"},
        },
    }
}

# Where people reach the site, for links in emails.
TANDEM_SITE_URL = os.environ.get("TANDEM_SITE_URL") or "http://127.0.0.1:8000/"
TANDEM_INBOX_URL = os.environ.get("TANDEM_INBOX_URL") or "http://127.0.0.1:1080/"
TANDEM_RESTATE_UI_URL = os.environ.get("TANDEM_RESTATE_UI_URL") or "http://127.0.0.1:9070/ui/"
