from django.db import migrations


class Migration(migrations.Migration):
    operations = [migrations.RunSQL("SELECT * FROM no_such_table")]
