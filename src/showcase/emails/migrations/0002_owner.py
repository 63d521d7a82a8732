from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("emails", "0001_initial")]

    operations = [
        migrations.AddField(model_name="batch", name="owner", field=models.CharField(max_length=255, null=True)),
    ]
