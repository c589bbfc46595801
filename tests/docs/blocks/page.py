# %% shell: mesh-refresh access add dana --scope read --scope operate --access access.toml
