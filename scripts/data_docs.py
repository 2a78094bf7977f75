def check_folder(site): site.mkdir(parents=True, exist_ok=True)
def publish(made, site, found):
    import shutil; shutil.copytree(made, site, dirs_exist_ok=True)
