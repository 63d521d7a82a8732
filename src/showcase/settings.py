"""Settings of the showcase, all from the environment; the defaults are where `manage.py tandem up` puts things."""

import os

from showcase import environment

SECRET_KEY = environment.secret_key(os.environ)
DEBUG = environment.boolean(os.environ, "DEBUG")
ALLOWED_HOSTS = environment.words(os.environ, "ALLOWED_HOSTS", environment.LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS = environment.words(os.environ, "CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = ["tandem", "tandem.ledger", "showcase", "showcase.emails"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SECURE_CSP = environment.CONTENT_SECURITY_POLICY

ROOT_URLCONF = "showcase.urls"
WSGI_APPLICATION = "showcase.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request", "showcase.views.links"]},
    }
]

DATABASES = {"default": environment.database(os.environ, "postgresql://tandem@127.0.0.1:5433/tandem")}
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

TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "QUEUES": ["default", "emails"],
        "OPTIONS": {
            "ENGINES": {
                "celery": {"BROKER_URL": os.environ.get("TANDEM_BROKER_URL") or "redis://127.0.0.1:6390/0"},
                "restate": {
                    "INGRESS_URL": os.environ.get("TANDEM_RESTATE_INGRESS_URL") or "http://127.0.0.1:8080",
                    "ADMIN_URL": os.environ.get("TANDEM_RESTATE_ADMIN_URL") or "http://127.0.0.1:9070",
                    "SERVICE_URL": os.environ.get("TANDEM_RESTATE_SERVICE_URL") or "http://127.0.0.1:9080",
                    "IDENTITY_KEYS": environment.words(os.environ, "TANDEM_RESTATE_IDENTITY_KEYS"),
                },
            },
            "ROUTES": {"default": "celery"},
        },
    }
}

TANDEM_INBOX_URL = os.environ.get("TANDEM_INBOX_URL") or "http://127.0.0.1:1080/"
TANDEM_RESTATE_UI_URL = os.environ.get("TANDEM_RESTATE_UI_URL") or "http://127.0.0.1:9070/ui/"
