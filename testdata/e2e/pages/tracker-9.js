import Client from 'bittorrent-tracker-9/client'
import { trackerClient } from './shared/tracker-client.js'

trackerClient(Client)
